"""The people of a manifest -> what a token says of them.

In: `{id, email, name, role, app_metadata}`. Out: claims in the shape that Supabase gives them, so that
what reads tokens is the same in every environment. Refuses what the fields' types refuse.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=200)]


class User(BaseModel):
    """Somebody whom a browser may log in as."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[Text, Field(description="the claim `sub`")]
    email: Annotated[Text, Field(description="the claim `email`")]
    name: Annotated[Text | None, Field(description="`user_metadata.name`")] = None
    role: Annotated[Text | None, Field(description="`app_metadata.role`, such as `admin`")] = None
    app_metadata: Annotated[
        Mapping[str, Any], Field(description="more that the service says of the user")
    ] = {}

    def claims(self) -> dict[str, Any]:
        """What every token of this user says."""
        known = {} if self.role is None else {"role": self.role}
        return {
            "sub": self.id,
            "email": self.email,
            "role": "authenticated",
            "app_metadata": {**self.app_metadata, **known},
            "user_metadata": {} if self.name is None else {"name": self.name},
        }
