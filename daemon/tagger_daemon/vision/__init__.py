"""Models: the picture they see, what they are asked, who answers, what their words become."""
