"""Key/value storage on database servers, through SQLAlchemy Core."""
