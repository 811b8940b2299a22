"""What a deploy did, from the rows it left: a document for programs, a page for people."""
