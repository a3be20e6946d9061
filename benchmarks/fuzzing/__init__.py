"""Bad input by the thousand: what is generated, what is done with it, and what counts as a defect.

    trials         one input, judged: it succeeds, or it is refused in a line; anything else is a defect
    sandbox        the folder in which command lines are tried, in this process or in one of their own
    values         good and bad values of every declared type
    commands       command lines, from the options that each command declares
    constructors   games, solvers and choices from the catalogue, and the public classes beside it
    files          files of every kind that is read, and who reads them
    changes        what becomes of files on the way
    child          a process with bounded memory that meets so many inputs of one room

Hypothesis draws all of it; `python -m gamesim.benchmarks.fuzzing.child ROOM COUNT SEED` meets them.
"""
