"""What pytest leaves alone here: the site's own code needs Sphinx, and what it built is no page."""

collect_ignore = ["_ext", "_build", "conf.py", "make_gallery.py"]
