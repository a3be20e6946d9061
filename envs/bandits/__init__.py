"""Games against nature: arms whose rewards are learned by pulling them."""
