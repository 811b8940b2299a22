"""The stages of a deploy, one module each; every one may run again and changes nothing then."""
