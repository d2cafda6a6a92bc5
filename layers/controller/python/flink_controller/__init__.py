"""Keep Flink jobs as their specs say: the package that every function, the CLI and the tests share.

`domain` decides, `services` carry out, `adapters` touch the world, `bootstrap` introduces them.
"""

__version__ = "0.1.0"
