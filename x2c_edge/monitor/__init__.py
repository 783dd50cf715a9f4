"""The live page: a small web server for one page, in a process of its own."""
