"""The commands of this family, one file each: ``export``, ``quantize`` and ``infer``."""
