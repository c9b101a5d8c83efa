"""The page of reference, made from the code: commands, plug-ins, and the keys of the results."""
