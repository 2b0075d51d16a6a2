"""Any collection of images: labels from folders or from a table of any kind, names of any form."""
