"""Language models as planners, from the prompt to the bill, and planners of ours served as language models.

What is said and understood: `text`, `reading`, `parsing`. What is asked: `model`, `sessions`, `calls`, `endpoint`,
`addresses`, `abilities`. What is kept and paid: `transcripts`, `replay`, `budget`, `pricing`. What answers: `server`,
`answering`, `faults`.
"""
