"""The drill: faults are put into a copy of a source, and every loader is run over it.

samples.py   faults of single images       shards.py    faults of tar shards, and of files
processes.py faults of the machine          copies.py    the copy, and what its images look like
planting.py  a fault in a source            cell.py      one run over it, in a process of its own
judging.py   what came of it                found.py     all of it, in words and as JSON
run.py       every loader, every fault
"""
