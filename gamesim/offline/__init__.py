"""Learning from recorded play alone: pessimism, confidence sets, and what their algorithms share.

recording    behaviours, experts, motion, recording, replaying, importing         play becomes data
networks     critics, targets, deviations, luck, imagined, confidence             what solvers of such data share
exact        counted, multisets, pairs, tables, task, version_space, programs,    oracles for small problems
             robust, local_models, linear_dynamics
"""
