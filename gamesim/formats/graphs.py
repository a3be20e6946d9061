def read_graph(source, blocks=None): raise RuntimeError
