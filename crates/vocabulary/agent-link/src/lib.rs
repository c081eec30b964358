//! The frames that an agent and a master exchange over their one connection.
