"""The local root for ARM processors: a Python with the engines, made from locks when it is asked for."""
