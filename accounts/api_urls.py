"""Addresses under /api/ of people, organizations and projects."""

from django.urls import path

from accounts.cohorts import api as cohorts
from accounts.invitations import api as invitations
from accounts.limits import api as limits
from accounts.organizations import api as organizations
from accounts.projects import api as projects

ORGANIZATION = "organizations/<str:organization_id>/"
MEMBER = ORGANIZATION + "members/<str:member_id>/"
PROJECT = "projects/<str:project_id>/"

urlpatterns = [
    path(ORGANIZATION, organizations.OrganizationView.as_view(), name="api-organization"),
    path(ORGANIZATION + "limits/", limits.OrganizationLimitsView.as_view(), name="api-organization-limits"),
    path(MEMBER + "limits/", limits.MemberLimitsView.as_view(), name="api-member-limits"),
    path(PROJECT + "limits/", limits.ProjectLimitsView.as_view(), name="api-project-limits"),
    path(ORGANIZATION + "members/", organizations.MembersView.as_view(), name="api-members"),
    path(MEMBER, organizations.MemberView.as_view(), name="api-member"),
    path(MEMBER + "transfer/", organizations.TransferView.as_view(), name="api-transfer"),
    path(ORGANIZATION + "invitations/", invitations.InvitationsView.as_view(), name="api-invitations"),
    path("invitations/<str:invitation_id>/", invitations.InvitationView.as_view(), name="api-invitation"),
    path(
        "invitations/<str:invitation_id>/resend/",
        invitations.InvitationResendView.as_view(),
        name="api-invitation-resend",
    ),
    path(ORGANIZATION + "join-links/", invitations.JoinLinksView.as_view(), name="api-join-links"),
    path("join-links/<str:link_id>/", invitations.JoinLinkView.as_view(), name="api-join-link"),
    path(ORGANIZATION + "projects/", projects.ProjectsView.as_view(), name="api-projects"),
    path(PROJECT, projects.ProjectView.as_view(), name="api-project"),
    path(PROJECT + "members/", projects.ProjectMembersView.as_view(), name="api-project-members"),
    path(PROJECT + "members/<str:member_id>/", projects.ProjectMemberView.as_view(), name="api-project-member"),
    path(PROJECT + "service-accounts/", projects.ServiceAccountsView.as_view(), name="api-service-accounts"),
    path("service-accounts/<str:account_id>/", projects.ServiceAccountView.as_view(), name="api-service-account"),
    path(ORGANIZATION + "cohorts/", cohorts.CohortsView.as_view(), name="api-cohorts"),
    path("cohorts/<str:cohort_id>/", cohorts.CohortView.as_view(), name="api-cohort"),
    path("cohorts/<str:cohort_id>/roster/", cohorts.RosterView.as_view(), name="api-roster"),
]
