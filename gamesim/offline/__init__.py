"""Learning from recorded play alone: pessimism, confidence sets, and what their algorithms share.

recording    behaviours, experts, motion, recording, replaying, importing         play becomes data
networks     learners, critics, targets, deviations, luck, imagined, confidence   what solvers of such data share
exact        a folder of its own                                                  oracles for small problems
"""
