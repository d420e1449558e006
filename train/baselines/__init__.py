"""Rival methods that KuaiHL is compared with."""
