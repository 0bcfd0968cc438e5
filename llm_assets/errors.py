"""The one error that is the user's to mend: its message is a single line that names the culprit."""


class UserError(ValueError):
    """Bad input. The command line prints the message as it is and exits with 1; HTTP answers 4xx.

    The message names the file, key, or id, the rule that was broken, and the value received.
    """
