"""The audit log: what was done, by whom and from where."""

from accounts.audit import forget_person, person_token, record
from accounts.models import AuditEvent, AuditOrigin, AuditPerson, Project, User
from common.context import Origin, current_origin


def test_it_works(ada: User, project: Project) -> None:
    token = current_origin.set(Origin(address="192.0.2.7", user_agent="curl/8"))
    try:
        record(
            "project.renamed",
            by=ada,
            target=project,
            organization=project.organization,
            label=project.name,
            before={"name": "Old"},
            after={"name": "New"},
        )
    finally:
        current_origin.reset(token)

    event = AuditEvent.objects.get()
    assert (event.action, event.target_kind, event.target_id) == ("project.renamed", "project", project.public_id)
    assert (event.before, event.after) == ({"name": "Old"}, {"name": "New"})
    assert event.actor == person_token(ada)
    origin = AuditOrigin.objects.get(event_id=event.pk)
    assert (origin.address, origin.user_agent) == ("192.0.2.7", "curl/8")


def test_people_are_named_by_a_token(ada: User, ben: User, project: Project) -> None:
    record("member.removed", by=ada, target=ben, organization=project.organization, label=ben.name)
    event = AuditEvent.objects.get()
    assert event.target_id == person_token(ben)
    assert "Ben" not in str(vars(event))


def test_the_portal_itself_has_no_origin(project: Project) -> None:
    record("project.ended", by=None, target=project, organization=project.organization)
    assert AuditEvent.objects.get().actor == ""
    assert not AuditOrigin.objects.exists()


def test_a_person_can_be_forgotten(ada: User, ben: User, project: Project) -> None:
    origin = current_origin.set(Origin(address="192.0.2.7", user_agent="curl/8"))
    try:
        for user in (ada, ben):
            record("project.renamed", by=user, target=project, organization=project.organization)
    finally:
        current_origin.reset(origin)
    token = person_token(ada)
    forget_person(ada)
    assert AuditPerson.objects.get(token=token).user is None
    assert AuditEvent.objects.filter(actor=token).count() == 1
    assert [origin.person for origin in AuditOrigin.objects.all()] == [person_token(ben)]
    assert person_token(ada) != token
