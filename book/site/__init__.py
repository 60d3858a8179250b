"""Tools of the site: build, Sphinx extension, PDF, slides, the book without solutions, JavaScript packages."""
