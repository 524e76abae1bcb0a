"""The one loop and all it is made of: model, objective, optimizer, schedule, checks on the way, and the end."""
