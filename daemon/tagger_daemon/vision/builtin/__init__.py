"""The product's own describing server: it looks at the pixels, and says only what they and the facts show.

It needs no weights and no GPU, so that a fresh machine can run the whole journey. It never guesses a
subject. To everything else it is one more OpenAI-compatible endpoint.
"""
