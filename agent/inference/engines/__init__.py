"""Engines that run a model's file: one a module, behind `base.Engine`."""
