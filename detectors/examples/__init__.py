"""Examples of rules, played: how records look, and whether they fire. On a laptop; no part of what runs in Azure."""
