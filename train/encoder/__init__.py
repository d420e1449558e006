"""The compact picture encoder: a Swin distilled from an ImageNet teacher."""
