"""How the site is built; not part of it."""
