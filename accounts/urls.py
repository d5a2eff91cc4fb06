from django.contrib.auth.decorators import login_required
from django.urls import path

from accounts import views
from accounts.cohorts import views as cohorts
from accounts.invitations import views as invitations
from accounts.limits import views as limits
from accounts.organizations import views as organizations
from accounts.projects import views as projects

app_name = "accounts"
urlpatterns = [
    path("settings/", views.settings_page, name="settings"),
    path("setup/<str:token>/", views.setup, name="setup"),
    path("projects/<str:project_id>/choose/", views.choose, name="choose_project"),
    # In the place of allauth's own: they stand before them in the portal's addresses.
    path("accounts/email/", login_required(views.EmailAddressesView.as_view()), name="addresses"),
    path("accounts/sessions/", login_required(views.SessionsView.as_view()), name="sessions"),
    path("settings/sessions/<str:handle>/end/", views.end_session, name="end_session"),
    path("settings/data/", views.data, name="data"),
    path("settings/data/export/", views.export, name="start_export"),
    path("settings/data/export/progress/", views.export_progress, name="export_progress"),
    path("settings/data/export/<str:export_id>/", views.download_export, name="download_export"),
    path("settings/data/erase/", views.erase, name="erase"),
    path("erased/<str:erasure_id>/", views.erased, name="erased"),
    path("second-factor/", views.second_factor, name="second_factor"),
    path(
        "organizations/<str:organization_id>/second-factor/",
        views.second_factor_policy,
        name="second_factor_policy",
    ),
    path("terms/", views.terms, name="terms"),
    path("terms/publish/", views.publish, name="publish_terms"),
    path("terms/<int:number>/accept/", views.accept, name="accept_terms"),
    path("mail/", views.mail, name="mail"),
    path("organizations/", organizations.organizations, name="organizations"),
    path("organizations/new/", organizations.new_organization, name="new_organization"),
    path("organizations/<str:organization_id>/settings/", organizations.organization, name="organization"),
    path("organizations/<str:organization_id>/limits/", limits.organization_limits, name="organization_limits"),
    path(
        "organizations/<str:organization_id>/members/<str:member_id>/limits/",
        limits.member_limits,
        name="member_limits",
    ),
    path("projects/<str:project_id>/limits/", limits.project_limits, name="project_limits"),
    path("organizations/<str:organization_id>/leave/", organizations.leave, name="leave"),
    path("organizations/<str:organization_id>/members/", organizations.members, name="members"),
    path("organizations/<str:organization_id>/members/<str:member_id>/", organizations.member, name="member"),
    path(
        "organizations/<str:organization_id>/members/<str:member_id>/role/",
        organizations.change_role,
        name="change_role",
    ),
    path(
        "organizations/<str:organization_id>/members/<str:member_id>/remove/",
        organizations.remove_member,
        name="remove_member",
    ),
    path(
        "organizations/<str:organization_id>/members/<str:member_id>/transfer/",
        organizations.transfer,
        name="transfer",
    ),
    path("organizations/<str:organization_id>/projects/", projects.projects, name="projects"),
    path("organizations/<str:organization_id>/projects/new/", projects.new_project, name="new_project"),
    path("organizations/<str:organization_id>/cohorts/", cohorts.cohorts, name="cohorts"),
    path("organizations/<str:organization_id>/cohorts/new/", cohorts.new_cohort, name="new_cohort"),
    path("cohorts/<str:cohort_id>/", cohorts.cohort, name="cohort"),
    path("cohorts/<str:cohort_id>/settings/", cohorts.cohort_settings, name="cohort_settings"),
    path("cohorts/<str:cohort_id>/close/", cohorts.close_cohort, name="close_cohort"),
    path("cohorts/<str:cohort_id>/link/", cohorts.switch_cohort_link, name="switch_cohort_link"),
    path("cohorts/<str:cohort_id>/roster.csv", cohorts.roster, name="roster"),
    path("organizations/<str:organization_id>/invitations/", invitations.invitations, name="invitations"),
    path("organizations/<str:organization_id>/join-links/", invitations.join_links, name="join_links"),
    path("invitations/<str:invitation_id>/resend/", invitations.resend_invitation, name="resend_invitation"),
    path("invitations/<str:invitation_id>/revoke/", invitations.revoke_invitation, name="revoke_invitation"),
    path("join-links/<str:link_id>/switch/", invitations.switch_join_link, name="switch_join_link"),
    path("invitation/<str:token>/", invitations.accept_invitation, name="accept_invitation"),
    path("join/<str:token>/", invitations.join, name="join"),
    path("projects/<str:project_id>/", projects.project, name="project"),
    path("projects/<str:project_id>/archive/", projects.archive_project, name="archive_project"),
    path("projects/<str:project_id>/restore/", projects.restore_project, name="restore_project"),
    path("projects/<str:project_id>/members/", projects.project_members, name="project_members"),
    path("projects/<str:project_id>/members/add/", projects.add_project_member, name="add_project_member"),
    path("projects/<str:project_id>/members/<str:member_id>/role/", projects.set_place, name="set_place"),
    path("projects/<str:project_id>/members/<str:member_id>/remove/", projects.remove_place, name="remove_place"),
    path("projects/<str:project_id>/service-accounts/", projects.service_accounts, name="service_accounts"),
    path("service-accounts/<str:account_id>/", projects.service_account, name="service_account"),
    path("service-accounts/<str:account_id>/remove/", projects.remove_service_account, name="remove_service_account"),
]
