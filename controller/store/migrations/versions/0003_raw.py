"""Requests for single queries, and the parts in which they come back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "raw_requests",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("fleet", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("most_records", sa.Integer(), nullable=False),
        sa.Column("asked_s", sa.Double(), nullable=False),
        sa.Column("published_s", sa.Double(), nullable=True),
        sa.Column("ended_s", sa.Double(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_requests")),
    )
    op.create_table(
        "raw_parts",
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["request"], ["raw_requests.id"], name=op.f("fk_raw_parts_request_raw_requests")),
        sa.PrimaryKeyConstraint("request", "part", name=op.f("pk_raw_parts")),
    )


def downgrade() -> None:
    op.drop_table("raw_parts")
    op.drop_table("raw_requests")
