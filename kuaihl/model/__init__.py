"""KuaiHL: the model, its configuration and its inputs."""
