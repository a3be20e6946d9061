"""Plain mean-field games of the papers and of other libraries, one file each: everyone feels the whole population."""
