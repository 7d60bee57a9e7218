"""Image-text pairs from web crawls: WARC, WAT and HTML in, (image URL, text, page URL) out."""
