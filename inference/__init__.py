"""The client to inference servers, and the table of endpoints they share with us. Knows no database and no Django."""
