"""Nothing that anybody writes becomes a script, an address to call or a part of the page, wherever it is shown.

`xss.txt` holds what people have tried. Each page is looked at under the security policy, which must have nothing to
refuse, and where texts are rendered once more without it, where nothing else would hold a script back.
"""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Request, expect
from playwright.sync_api import Route as Intercepted

from accounts.audit import record
from accounts.cohorts.services import create_cohort
from accounts.invitations.links import create_join_link
from accounts.mail import KeptMailBackend
from accounts.models import Membership, Organization, Project, ServiceAccount, User
from accounts.roles import Role
from apikeys.models import ApiKey
from apikeys.services import mint_key
from catalog.models import Backend, Deployment, HostedModel
from common.markdown import render
from community.models import FlagReason, Post, PostKind
from community.services import raise_flag
from forum import services as forum
from forum.models import Question
from playground.models import Run, RunStatus
from tests.e2e.test_playground import Model, address
from tests.e2e.test_playground import model as model
from tests.e2e.test_playground import portal as portal
from tests.e2e.test_playground import run as run
from tests.usage.ledger import add_usage
from webhooks.models import Delivery, DeliveryState, Endpoint, Message

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

LINES = (Path(__file__).parent / "xss.txt").read_text().split("\n")
PAYLOADS = [line.replace("⏎", "\n") for line in LINES if line and not line.startswith("////")]
NAMES = [payload for payload in PAYLOADS if len(payload) <= 80]
ALL = "\n\n".join(PAYLOADS)
IN_PLACES = "\n".join(f"- before {payload} after" for payload in PAYLOADS if "\n" not in payload)

WATCH = """
    for (const name of ["alert", "confirm", "prompt", "print", "msgbox"]) {
        window[name] = () => console.error("a script ran at " + location);
    }
    addEventListener("securitypolicyviolation", (event) => {
        console.error(`refused by the policy: ${event.effectiveDirective} ${event.blockedURI} at ${location}`);
    });
"""
"""In every frame, before anything of the page: whoever of the list gets to run calls one of these."""

FOREIGN_PARTS = """() => {
    const addresses = /^(href|src|action|formaction|xlink:href|data|srcdoc|srcset|poster|background|ping)$/;
    const script = /^[\\s\\x00-\\x20]*(javascript|vbscript|data):/i;
    const here = new Set(["", "http://" + location.host, "https://" + location.host]);
    const origin = (value) => { try { return new URL(value, location).origin } catch { return "" } };
    const found = [];
    for (const element of document.querySelectorAll("*")) {
        if (/^(IFRAME|FRAME|OBJECT|EMBED|APPLET|BASE|MATH|PORTAL|FENCEDFRAME)$/i.test(element.tagName)) {
            found.push(element.outerHTML.slice(0, 100));
        }
        if (element.matches("meta[http-equiv]")) found.push(element.outerHTML);
        for (const { name, value } of element.attributes) {
            const calls = element.tagName !== "A" && !element.matches("link[rel=canonical]");
            const leads = addresses.test(name) && (script.test(value) || (calls && !here.has(origin(value))));
            if (/^on|^(data-)?hx-on/.test(name) || leads) {
                found.push(`${element.tagName} ${name}=${value.slice(0, 100)}`);
            }
        }
    }
    return found;
}"""
"""What no page of ours has and a payload would be: handlers, frames, and addresses elsewhere but those of links."""


class Reader:
    """Somebody's browser, and all that was wrong on what they looked at."""

    def __init__(self, browser: Browser, url: str, client: Client, *, under_policy: bool = True) -> None:
        self.context = browser.new_context(base_url=url, bypass_csp=not under_policy)
        name = settings.SESSION_COOKIE_NAME
        self.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
        self.context.add_init_script(WATCH)
        self._host = urlsplit(url).netloc
        self.context.route(lambda address: urlsplit(address).netloc != self._host, self._refuse)
        self.page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"{error} at {self.page.url}"))
        self.page.on("dialog", lambda dialog: dialog.dismiss())
        self.faults: list[str] = []

    def looks_at(self, path: str, *, shown: int = 1) -> None:
        """Open a page on which so many payloads stand to be read."""
        self.page.goto(path)
        self.looks(shown=shown)

    def looks(self, *, shown: int = 1) -> None:
        self.faults += [f"{part} at {self.page.url}" for part in self.page.evaluate(FOREIGN_PARTS)]
        seen = self.page.evaluate(
            "() => document.body.textContent + [...document.querySelectorAll('input, option')].map(e => e.value).join()"
        )
        count = len(re.findall(r"alert|evil\.example", seen))
        assert count >= shown, (self.page.url, count)

    def leafs_through(self, path: str, *, most: int = 3) -> None:
        """Open a list and all that follow."""
        self.looks_at(path)
        for _page in range(most):
            following = self.page.locator("a[rel=next]").first
            if not following.count():
                return
            self.looks_at(following.evaluate("link => link.href"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _refuse(self, intercepted: Intercepted, request: Request) -> None:
        self.faults.append(f"called out to {request.url}")
        intercepted.abort()


@pytest.fixture
def project(ada: User, sam: User, project: Project, model: HostedModel) -> Project:
    """Ada's project, with the list under every name and in every text that somebody may choose."""
    organization = project.organization
    User.objects.filter(pk=ada.pk).update(name=NAMES[-1])
    _people(organization)
    ApiKey.objects.bulk_create(
        ApiKey(project=project, name=name, description=name, prefix="lyc_test", last4="wxyz", created_by=ada)
        for name in NAMES
    )
    for name in NAMES[30::150]:
        mint_key(project=project, name=name, by=ada)
    Project.objects.bulk_create(Project(organization=organization, name=name) for name in NAMES)
    ServiceAccount.objects.bulk_create(
        ServiceAccount(project=project, name=name, description=name, created_by=ada) for name in NAMES
    )
    HostedModel.objects.bulk_create(
        HostedModel(public_name=one, description=one) for one in PAYLOADS if one.isprintable()
    )
    backend = Backend.objects.get()
    Deployment.objects.bulk_create(
        Deployment(hosted_model=one, backend=backend, backend_name=one.public_name)
        for one in HostedModel.objects.exclude(pk=model.pk)
    )
    _webhooks(organization, ada)
    for name in NAMES[::8]:
        record("key.created", by=ada, target=project, organization=organization, label=name, after={"name": name})
        add_usage(project, timezone.now(), model=name, prompt_tokens=9)
        until = timezone.now() + timedelta(days=9)
        create_join_link(organization=organization, name=name, role=Role.MEMBER, most_joins=9, ends_at=until, by=ada)
        create_cohort(organization=organization, name=name, ends_at=until, most_joins=9, limits={}, by=ada)
    for payload in PAYLOADS[::8]:
        mail = EmailMessage(payload.replace("\n", " "), payload, to=[ada.email])
        KeptMailBackend().send_messages([mail])
    return project


def _people(organization: Organization) -> None:
    people = [User(name=name, email=f"x{number}@example.com") for number, name in enumerate(NAMES)]
    Membership.objects.bulk_create(
        Membership(organization=organization, user=user) for user in User.objects.bulk_create(people)
    )
    organizations = Organization.objects.bulk_create(Organization(name=name) for name in NAMES)
    owner = organization.memberships.get(role=Role.OWNER).user
    Membership.objects.bulk_create(Membership(organization=one, user=owner, role=Role.OWNER) for one in organizations)


def _webhooks(organization: Organization, ada: User) -> None:
    endpoints = Endpoint.objects.bulk_create(
        Endpoint(organization=organization, url=f"https://good.example/{payload}", description=payload, created_by=ada)
        for payload in PAYLOADS
    )
    message = Message.objects.create(organization=organization, event_type="test", data={"text": ALL[:5000]})
    for start in range(0, len(ALL), 1000):
        Delivery.objects.create(
            endpoint=endpoints[0], message=message, state=DeliveryState.FAILED, status=500, answer=ALL[start:][:1000]
        )


@pytest.fixture
def question(ada: User, cyd: User, sam: User) -> Question:
    """The list as a question, its answer and a comment on each, and as the titles of many more."""
    asked = forum.ask(author=ada, title=NAMES[26], source=ALL, tags=[])
    given = forum.answer(question=asked, author=cyd, source=IN_PLACES)
    forum.comment(question=asked, on=given.post, author=sam, source=IN_PLACES)
    raise_flag(post=given.post, flagger=ada, reason=FlagReason.OTHER, note=ALL[:500])
    posts = Post.objects.bulk_create(
        Post(
            kind=PostKind.QUESTION, author=cyd, source=payload, html=render(payload), renderer_version=1, language="en"
        )
        for payload in PAYLOADS
    )
    Question.objects.bulk_create(Question(post=post, title=post.source) for post in posts)
    return asked


def test_texts(
    browser: Browser,
    portal: str,
    project: Project,
    question: Question,
    run: Run,
    ada_client: Client,
) -> None:
    done = Run.objects.create(
        user=run.user, project=project, model_name=NAMES[0], title=ALL[:60], status=RunStatus.SUCCEEDED,
        messages=[{"role": "user", "content": ALL}], output=ALL, reasoning=IN_PLACES,
    )  # fmt: skip
    broken = Run.objects.create(
        user=run.user, project=project, model_name=NAMES[1], title=ALL[:60], status=RunStatus.FAILED,
        messages=[{"role": "user", "content": "Hello"}], error_code="upstream_error", error_message=ALL,
    )  # fmt: skip
    model = Model(run)
    model.writes(*re.findall(r".{1,997}", ALL + "\n\nThe end. ", re.DOTALL))
    place = f"/forum/questions/{question.public_id}/{question.slug}/"
    for under_policy in (True, False):
        reader = Reader(browser, portal, ada_client, under_policy=under_policy)
        reader.looks_at(place, shown=3 * 300)
        reader.looks_at(f"/forum/posts/{question.post.public_id}/history/", shown=250)
        reader.looks_at(f"/forum/posts/{question.post.public_id}/edit/", shown=300)
        reader.looks_at(f"/forum/posts/{question.post.public_id}/comment/", shown=300)
        reader.looks_at(address(done), shown=300)
        reader.looks_at(address(broken), shown=300)
        reader.page.goto(address(run))
        expect(reader.page.locator("#answer [data-part=text]")).to_contain_text("The end")
        reader.looks(shown=300)
        assert reader.faults == []
        reader.context.close()


def test_names(
    browser: Browser,
    portal: str,
    project: Project,
    question: Question,
    ada_client: Client,
) -> None:
    reader = Reader(browser, portal, ada_client)
    organization = f"/organizations/{project.organization.public_id}"
    place = f"/projects/{project.public_id}"
    for path in ("/forum/", "/keys/", f"{organization}/members/", f"{organization}/projects/", "/organizations/"):
        reader.leafs_through(path)
    for path in (
        f"{place}/service-accounts/", f"{organization}/cohorts/", f"{organization}/join-links/",
        f"{organization}/audit/", f"{organization}/webhooks/", f"{organization}/invitations/",
        f"{organization}/settings/", f"{place}/members/add/", "/models/", "/playground/", "/keys/new/", "/keys/health/",
        "/usage/?group=model", "/usage/?group=key", "/usage/?group=user", "/settings/", "/mail/", "/search/?q=alert",
        "/notifications/", "/quickstart/", "/",
    ):  # fmt: skip
        reader.looks_at(path)
    endpoint = Delivery.objects.all()[0].endpoint
    reader.looks_at(f"{organization}/webhooks/{endpoint.public_id}/")
    for delivery in Delivery.objects.all()[:3]:
        reader.looks_at(f"{organization}/webhooks/{endpoint.public_id}/deliveries/{delivery.public_id}/")
    for key in ApiKey.objects.exclude(secrets=None):
        reader.looks_at(f"/keys/{key.public_id}/")
        reader.looks_at(f"/keys/{key.public_id}/edit/")
    for hosted in HostedModel.objects.all()[5:300:40]:
        reader.looks_at(f"/models/{quote(hosted.public_name)}/")
    for start in range(0, len(ALL), 1500):
        for path in ("/search/", "/forum/", "/keys/"):
            reader.looks_at(f"{path}?q={quote(ALL[start:][:1500])}", shown=0)
    assert reader.faults == []
    reader.context.close()


def test_pages_of_staff(
    browser: Browser,
    portal: str,
    project: Project,
    question: Question,
    sam_client: Client,
) -> None:
    reader = Reader(browser, portal, sam_client)
    flagged = Post.objects.get(flags__isnull=False)
    for path in (
        "/audit/", "/mail/", "/moderation/", f"/moderation/posts/{flagged.public_id}/", "/backends/",
        f"/backends/{Backend.objects.get().name}/", "/admin/accounts/user/", "/admin/accounts/organization/",
        "/admin/accounts/auditevent/", "/admin/apikeys/apikey/", "/admin/catalog/hostedmodel/",
        "/admin/community/post/", "/admin/forum/question/", "/admin/webhooks/endpoint/", "/admin/webhooks/delivery/",
        f"/admin/community/post/{question.post.pk}/change/",
    ):  # fmt: skip
        # The list of posts in the admin holds none of their text.
        reader.looks_at(path, shown=0 if path == "/admin/community/post/" else 1)
    assert reader.faults == []
    reader.context.close()


def test_the_feed(
    browser: Browser, portal: str, project: Project, question: Question, client: Client, ada_client: Client
) -> None:
    feed = client.get("/forum/feed/").content.decode()
    reader = Reader(browser, portal, ada_client, under_policy=False)
    reader.page.goto("/docs/")
    # As a reader of feeds does: what stands in the feed as HTML becomes HTML.
    reader.page.evaluate(
        """feed => {
            const parsed = new DOMParser().parseFromString(feed, "application/xml");
            if (parsed.querySelector("parsererror")) throw new Error("not XML");
            const texts = [...parsed.querySelectorAll("summary, content, description")].map(one => one.textContent);
            document.body.innerHTML = texts.join("<hr>");
        }""",
        feed,
    )
    reader.looks()
    assert reader.faults == []
    reader.context.close()
