"""The suite `evidence`: runs of the published protocol, trained at low priority by the code of one commit."""
