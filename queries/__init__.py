"""The query list: words, bigrams and titles of Wikipedia, and WordNet, as the paper describes (section 2.2)."""
