"""Programs of torch.export: reads and runs them without torch's own loader, which unpickles and evaluates text."""
