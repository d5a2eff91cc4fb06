"""People, the organizations they work in, and the projects that hold keys and usage."""

from accounts.models.audit import AuditEvent, AuditOrigin, AuditPerson, AuditSeal, person_token
from accounts.models.jobs import AccountErasure, AccountExport, AccountJob, JobState, erasure_id, export_id
from accounts.models.joining import (
    Cohort,
    Invitation,
    JoinLink,
    JoinState,
    cohort_id,
    invitation_id,
    join_link_id,
)
from accounts.models.organizations import (
    PERSONAL,
    Membership,
    Organization,
    Removal,
    organization_id,
)
from accounts.models.people import KeptMail, OperatorInvitation, SecondFactor, User, shown_name, user_id
from accounts.models.plans import Plan, PlanChange, plan_id
from accounts.models.projects import (
    FIRST_PROJECT,
    Project,
    ProjectMembership,
    ServiceAccount,
    last_moment,
    project_id,
    service_account_id,
)
from accounts.models.terms import TermsAcceptance, TermsVersion

__all__ = [
    "FIRST_PROJECT",
    "PERSONAL",
    "AccountErasure",
    "AccountExport",
    "AccountJob",
    "AuditEvent",
    "AuditOrigin",
    "AuditPerson",
    "AuditSeal",
    "Cohort",
    "Invitation",
    "JobState",
    "JoinLink",
    "JoinState",
    "KeptMail",
    "Membership",
    "OperatorInvitation",
    "Organization",
    "Plan",
    "PlanChange",
    "Project",
    "ProjectMembership",
    "Removal",
    "SecondFactor",
    "ServiceAccount",
    "TermsAcceptance",
    "TermsVersion",
    "User",
    "cohort_id",
    "erasure_id",
    "export_id",
    "invitation_id",
    "join_link_id",
    "last_moment",
    "organization_id",
    "person_token",
    "plan_id",
    "project_id",
    "service_account_id",
    "shown_name",
    "user_id",
]
