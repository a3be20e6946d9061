"""Learning from recorded play alone: pessimism, confidence sets, and what their algorithms share."""
