//! Files: model checkpoints and tensors in the safetensors format.
