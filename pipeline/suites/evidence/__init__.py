"""The suite `evidence`: runs of the published protocol, trained in the background by the code of one commit."""
