"""What is published: the model card and the Hugging Face Space."""
