"""Pages of organizations with few and with thousands of members, projects and participants, and of a long audit log."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from accounts.audit import person_token
from accounts.auditing.upkeep import open_months
from accounts.cohorts.services import create_cohort
from accounts.models import AuditEvent, Membership, Organization, Project, ProjectMembership, User
from accounts.organizations.services import create_organization
from accounts.roles import ProjectRole, Role
from benchmarks.rounds import best_of_rounds

SIZES = (10, 100, 1_000)
MOST_MEMBERS = 10_000
MOST_EVENTS = 200_000
ROLES = (Role.MEMBER, Role.MEMBER, Role.MEMBER, Role.VIEWER, Role.GUEST, Role.ADMIN)
DAYS = 365
BATCH = 10_000

Pages = dict[tuple[str, int], tuple[Client, str]]


def main() -> None:
    """Print the section of the page."""
    pages: Pages = {}
    for size in (*SIZES, MOST_MEMBERS):
        pages |= _members(size)
    for size in SIZES:
        pages |= _projects(size) | _roster(size)
    for size in (*SIZES, MOST_EVENTS):
        pages |= _audit(size)
    # As upkeep does every day: each month has a part of the table to itself.
    open_months(timezone.now().date())
    figures: dict[str, dict[int, float]] = {}
    for (name, size), milliseconds in best_of_rounds(pages).items():
        figures.setdefault(name, {})[size] = milliseconds
    print(section(figures))


def section(pages: dict[str, dict[int, float]]) -> str:
    """What the report says about people; a page has a figure for each of its sizes."""
    sizes = sorted({size for page in pages.values() for size in page})
    lines = "\n".join(
        f"| {name} | {' | '.join(f'{page[size]:.1f}' if size in page else '' for size in sizes)} "
        f"| {page[max(page)] / page[100]:.2f} |"
        for name, page in pages.items()
    )
    return f"""Pages in milliseconds, by how many rows the list has: members, projects, participants of a cohort, events
of the audit log in a year. A page shows 50 of them, so that ten are less to draw; the ratio is of the most to 100.

| page | {" | ".join(f"{size:,}" for size in sizes)} | ratio |
| --- |{" ---: |" * (len(sizes) + 1)}
{lines}
"""


def _owner(name: str) -> tuple[User, Client, Organization]:
    """Somebody signed in who owns an organization, which is the one that the pages are about."""
    user = User.objects.create_user(f"{name}@example.com", name=name)
    project = create_organization(name=name, by=user)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user, client, project.organization


def _crowd(organization: Organization, size: int) -> list[Membership]:
    """That many people, whose names come in another order than they do."""
    people = User.objects.bulk_create(
        User(email=f"{number}@{organization.public_id}.example.com", name=f"Person {number * 7919 % size:05}")
        for number in range(size)
    )
    return Membership.objects.bulk_create(
        Membership(organization=organization, user=person, role=ROLES[number % len(ROLES)])
        for number, person in enumerate(people)
    )


def _members(size: int) -> Pages:
    _user, client, organization = _owner(f"members-{size}")
    _crowd(organization, size)
    address = f"/organizations/{organization.public_id}/members/"
    return {
        ("members by name", size): (client, address),
        ("members by role", size): (client, f"{address}?sort=role"),
        ("members, newest first", size): (client, f"{address}?sort=joined"),
        ("members called “person”", size): (client, f"{address}?q=person"),
        ("members called “00007”", size): (client, f"{address}?q=00007"),
    }


def _projects(size: int) -> Pages:
    _user, client, organization = _owner(f"projects-{size}")
    Project.objects.bulk_create(Project(organization=organization, name=f"No. {number:05}") for number in range(size))
    address = f"/organizations/{organization.public_id}/projects/"
    return {
        ("projects by name", size): (client, address),
        ("projects, newest first", size): (client, f"{address}?sort=newest"),
    }


def _roster(size: int) -> Pages:
    user, client, organization = _owner(f"roster-{size}")
    cohort = create_cohort(
        organization=organization,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=90),
        most_joins=size,
        limits={"monthly_budget_nano": 5_000_000_000},
        by=user,
    )
    ProjectMembership.objects.bulk_create(
        ProjectMembership(project=cohort.project, membership=membership, role=ProjectRole.PARTICIPANT)
        for membership in _crowd(organization, size)
    )
    address = f"/cohorts/{cohort.public_id}/"
    return {
        ("roster of a cohort", size): (client, address),
        ("roster, newest first", size): (client, f"{address}?sort=joined"),
    }


def _audit(size: int) -> Pages:
    """Events of the last year, every other one by the reader."""
    user, client, organization = _owner(f"audit-{size}")
    mine, now = person_token(user), timezone.now()
    AuditEvent.objects.bulk_create(
        (
            AuditEvent(
                at=now - timedelta(days=DAYS) * number / size,
                action="project.renamed",
                actor="" if number % 2 else mine,
                organization_id=organization.public_id,
                target_kind="project",
                target_id=f"proj_{number}",
                target_label=f"Project {number}",
            )
            for number in range(size)
        ),
        batch_size=BATCH,
    )
    address = f"/organizations/{organization.public_id}/audit/"
    return {("audit log", size): (client, address), ("audit log, of a person", size): (client, f"{address}?by={mine}")}
