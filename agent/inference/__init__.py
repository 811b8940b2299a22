"""What runs in workers: a bundle's pipeline, its kernels and its engines. The control process imports none of it but
`engines.registry`, which names what is installed without loading it.
"""
