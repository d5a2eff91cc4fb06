"""Settings, all from the environment; docs/operators/settings.md documents each and a test holds the two together."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _
from kombu import Queue

from portal import env
from portal.celery import QUEUES
from portal.logs import logging_config

# ModelAdmin[User], ModelForm[User] and their like are written for the type checker and must also run.
django_stubs_ext.monkeypatch()

BASE_DIR = env.BASE_DIR
VAR_DIR = env.var_dir()

# Where this portal is, and what follows from it

PORT = env.integer("PORT", 8000)
PUBLIC_URL = env.text("PUBLIC_URL", f"http://localhost:{PORT}").rstrip("/")
# Read as a browser would: HTTPS:// written in capitals must not turn protection off.
PRODUCTION = urlsplit(PUBLIC_URL).scheme == "https"
PORTAL_NAME = env.text("PORTAL_NAME", "Lyceum")
DEBUG = env.flag("DEBUG", False)

_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = [_public.hostname or "localhost"]
if not PRODUCTION:
    ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc.lower()}"]

# Secrets. portal.checks refuses to start production with one missing; elsewhere they are made with the first start

DATABASE_URL = env.text("DATABASE_URL")
_make = bool(DATABASE_URL) and not PRODUCTION
SECRET_KEY = env.secret("SECRET_KEY", make=_make)
SECRET_KEY_IS_SET = bool(SECRET_KEY)
# A random key lets commands that need none (makemigrations, check) run on a machine that was never set up.
SECRET_KEY = SECRET_KEY or secrets.token_urlsafe(50)
# From where SECRET_KEY is: one that somebody set has nothing to do with those that were made here.
_fallbacks = env.secret("SECRET_KEY_FALLBACKS", make=_make and not env.text("SECRET_KEY"))
SECRET_KEY_FALLBACKS = [key for key in _fallbacks.split(",") if key]
FIELD_ENCRYPTION_KEYS = [key for key in env.secret("FIELD_ENCRYPTION_KEYS", make=_make).split(",") if key]
KEY_PEPPERS = [key for key in env.secret("KEY_PEPPERS", make=_make).split(",") if key]
API_KEY_PREFIX = env.text("API_KEY_PREFIX", "lyc")

# Stores

DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 8)
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
REDIS_VOLATILE_URL = env.text("REDIS_VOLATILE_URL", REDIS_URL, pair="REDIS_URL")

_database: dict[str, Any] = dict(environ.Env.db_url_config(DATABASE_URL or "postgres://lyceum@127.0.0.1:5432/lyceum"))
_database["ENGINE"] = "django.db.backends.postgresql"
_database["CONN_MAX_AGE"] = 0
_database["CONN_HEALTH_CHECKS"] = True
_database.setdefault("OPTIONS", {})["connect_timeout"] = 3
# A year of a large organization is summed in memory: with the 4 MB that are usual it would be sorted on disk first.
_database["OPTIONS"]["options"] = (
    "-c statement_timeout=60000 -c idle_in_transaction_session_timeout=60000 -c work_mem=16MB"
)
if DATABASE_POOL_SIZE:
    _database["OPTIONS"]["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 5, "max_lifetime": 1800}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_VOLATILE_URL,
        "KEY_PREFIX": "ly:cache",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 1},
    }
}

# Applications

INSTALLED_APPS = [
    "portal",  # before staticfiles: its runserver serves /v1 and the streams as well
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.humanize",  # the list of security keys says when each was last used
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_cotton.apps.SimpleAppConfig",
    "template_partials.apps.SimpleAppConfig",
    "django_htmx",
    "django_vite",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "common",
    "accounts",
    "notifications",
    "search",
    "webhooks",
    "catalog",
    "apikeys",
    "usage",
    "batches",
    "community",
    "docs_site",
    "forum",
    "playground",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "common.guards.GuardsMiddleware",
    "portal.restarts.ReadAgainMiddleware",
    "common.origins.OriginMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "common.zones.ReaderTimeZoneMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sessions.LastSeenMiddleware",
    "accounts.sign_on.LeavingMiddleware",
    "accounts.standing.StandingMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            # Spelled out because components and fragments each want to wrap the loaders, and the later one would win.
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [
                                "portal.loaders.ComponentLoader",
                                "django.template.loaders.filesystem.Loader",
                                "django.template.loaders.app_directories.Loader",
                            ],
                        )
                    ],
                )
            ],
            "builtins": ["django_cotton.templatetags.cotton", "template_partials.templatetags.partials"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "csp.context_processors.nonce",
                "portal.context.frame",
                "notifications.context.unread_notifications",
            ],
        },
    }
]

# Accounts

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email", "name"]},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_REDIRECT_URL = "quickstart"
LOGIN_URL = "account_login"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
USERSESSIONS_ADAPTER = "accounts.adapter.SessionsAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if PRODUCTION else "optional"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = PRODUCTION
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = 600
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGOUT_REDIRECT_URL = "home"
# The session in which a password is changed goes on; all others end with the old password.
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
# `key` is an account at one address in the first and the account alone in the second: see accounts.adapter.
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key", "login_failed_anywhere": "20/5m/key"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _public.scheme
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
REQUIRE_SECOND_FACTOR_FOR_STAFF = env.flag("REQUIRE_SECOND_FACTOR_FOR_STAFF", PRODUCTION)
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_ADAPTER = "accounts.adapter.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "accounts.second_factor_forms.AuthenticateForm",
    "reauthenticate": "accounts.second_factor_forms.ReauthenticateForm",
}
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = PORTAL_NAME
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
ALLAUTH_TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0)

SOCIALACCOUNT_ADAPTER = "accounts.sign_on.SocialAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
for _provider in ("github", "google"):
    _client_id = env.text(f"{_provider.upper()}_CLIENT_ID")
    _client_secret = env.text(f"{_provider.upper()}_CLIENT_SECRET")
    if _client_id:
        SOCIALACCOUNT_PROVIDERS[_provider] = {"APPS": [{"client_id": _client_id, "secret": _client_secret}]}
GITHUB_URL = env.text("GITHUB_URL").rstrip("/")
if "github" in SOCIALACCOUNT_PROVIDERS and GITHUB_URL:
    SOCIALACCOUNT_PROVIDERS["github"]["GITHUB_URL"] = GITHUB_URL
if "google" in SOCIALACCOUNT_PROVIDERS:
    SOCIALACCOUNT_PROVIDERS["google"] |= {
        "AUTHORIZE_URL": env.text("GOOGLE_AUTHORIZE_URL", "https://accounts.google.com/o/oauth2/v2/auth"),
        "ACCESS_TOKEN_URL": env.text("GOOGLE_TOKEN_URL", "https://oauth2.googleapis.com/token"),
        "CERTS_URL": env.text("GOOGLE_CERTS_URL", "https://www.googleapis.com/oauth2/v1/certs"),
        "ID_TOKEN_ISSUER": env.text("GOOGLE_ISSUER", "https://accounts.google.com"),
    }
OIDC_SERVER_URL = env.text("OIDC_SERVER_URL")
OIDC_NAME = env.text("OIDC_NAME", "OpenID Connect")
OIDC_DOMAINS = [domain.lower().removeprefix("@") for domain in env.listing("OIDC_DOMAINS")]
OIDC_EMAIL_IS_VERIFIED = env.flag("OIDC_EMAIL_IS_VERIFIED", False)
if OIDC_SERVER_URL:
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": env.text("OIDC_CLIENT_ID"),
                "secret": env.text("OIDC_CLIENT_SECRET"),
                "settings": {"server_url": OIDC_SERVER_URL},
            }
        ]
    }

# Browser security

SESSION_COOKIE_NAME = "__Host-sessionid" if PRODUCTION else "sessionid"
SESSION_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_COOKIE_NAME = "__Host-csrftoken" if PRODUCTION else "csrftoken"
CSRF_COOKIE_SECURE = PRODUCTION
LANGUAGE_COOKIE_SECURE = PRODUCTION
SECURE_SSL_REDIRECT = PRODUCTION
if ALLAUTH_TRUSTED_PROXY_COUNT:
    # From the header itself: uvicorn reads it of a proxy at 127.0.0.1 only, and one elsewhere would be redirected to
    # where it already is.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 63_072_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# Languages, time

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
# The second holds our wording of what other packages say.
LOCALE_PATHS = [BASE_DIR / "locale", BASE_DIR / "locale" / "packages"]
FORMAT_MODULE_PATH = "portal.formats"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_COOKIE_NAME = "language"

# Static files

STATIC_URL = "/static/"
# Collected in production only; otherwise files are served from where they are.
STATIC_ROOT = VAR_DIR / "static" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "portal.staticfiles.BundleStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
MEDIA_ROOT = Path(env.text("FILES_DIR") or VAR_DIR / "media")
# Exports of accounts and what was asked and answered in batches: for this program's eyes only.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
# Serving straight from the sources spares `make run` a copy of every file; production collects and compresses them.
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_IMMUTABLE_FILE_TEST = r"^.+[.-][0-9a-zA-Z_-]{8,12}\..+$"
DJANGO_VITE = {
    "default": {
        "manifest_path": BASE_DIR / "static" / "dist" / "manifest.json",
        "static_url_prefix": "dist",
    }
}

# Mail

EMAIL_URL = env.text("EMAIL_URL")
DEFAULT_FROM_EMAIL = env.text("MAIL_FROM", f"{PORTAL_NAME} <noreply@{_public.hostname}>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
EMAIL_TIMEOUT = 10
if EMAIL_URL:
    vars().update(environ.Env.email_url_config(EMAIL_URL))
else:
    # No mail server: mail is kept in the database and read on a page (never in production: portal.checks).
    EMAIL_BACKEND = "accounts.mail.KeptMailBackend"

# Background work

CELERY_BROKER_URL = env.broker_address(REDIS_URL)
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "default"
# All of them named, so that a worker started without -Q takes them all.
CELERY_TASK_QUEUES = [Queue(name) for name in QUEUES]
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": "ly:celery:",
}
# A request must never hang on a frozen broker: what is published is a hint, its row is already in PostgreSQL.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_TIMEZONE = "UTC"

# Where the keys are with which GitHub signs what its secret scanning finds; without it nothing is taken from there.
GITHUB_SECRET_SCANNING_KEYS_URL = env.text("GITHUB_SECRET_SCANNING_KEYS_URL")

# Webhooks

OUTBOUND_NETWORKS = env.listing("OUTBOUND_NETWORKS")

# Gateway

EMBEDDED_MODEL_URL = env.text("EMBEDDED_MODEL_URL")
EMBEDDED_MODEL_KEY = env.text("EMBEDDED_MODEL_KEY")
GATEWAY_MAX_BODY_BYTES = env.integer("GATEWAY_MAX_BODY_BYTES", 32 * 1024 * 1024)
GATEWAY_CEILING_REQUESTS_PER_MINUTE = env.integer("GATEWAY_CEILING_REQUESTS_PER_MINUTE", 1_000_000)
GATEWAY_CEILING_TOKENS_PER_MINUTE = env.integer("GATEWAY_CEILING_TOKENS_PER_MINUTE", 1_000_000_000)
GATEWAY_CONNECT_TIMEOUT_SECONDS = env.integer("GATEWAY_CONNECT_TIMEOUT_SECONDS", 3)
GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS = env.integer("GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS", 60)
GATEWAY_IDLE_TIMEOUT_SECONDS = env.integer("GATEWAY_IDLE_TIMEOUT_SECONDS", 30)
GATEWAY_TOTAL_TIMEOUT_SECONDS = env.integer("GATEWAY_TOTAL_TIMEOUT_SECONDS", 600)
GATEWAY_PROCESSES = env.integer("GATEWAY_PROCESSES", 1)
GATEWAY_SLOT_WAIT_SECONDS = env.integer("GATEWAY_SLOT_WAIT_SECONDS", 2)

# Stopping

DRAIN_NOTICE_SECONDS = env.integer("DRAIN_NOTICE_SECONDS", 5)
DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 60)

# Files and batches

FILES_MAX_BYTES = env.integer("FILES_MAX_BYTES", 512 * 1024 * 1024)
FILES_PROJECT_MAX_BYTES = env.integer("FILES_PROJECT_MAX_BYTES", 10 * 1024 * 1024 * 1024)
BATCH_FILE_DAYS = env.integer("BATCH_FILE_DAYS", 30)
BATCH_LINES_AT_ONCE = env.integer("BATCH_LINES_AT_ONCE", 8)

# What is kept for how long

USAGE_RETENTION_MONTHS = env.integer("USAGE_RETENTION_MONTHS", 13)
AUDIT_RETENTION_MONTHS = env.integer("AUDIT_RETENTION_MONTHS", 24)
AUDIT_ORIGIN_DAYS = env.integer("AUDIT_ORIGIN_DAYS", 90)

# API and schema

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apikeys.authentication.ManagementKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["common.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "common.api.problem",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "600/min"},
    # Of X-Forwarded-For only what our own proxies wrote: else a caller who makes up addresses is never slowed down.
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lyceum management API",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    # Fields of one name whose values differ: without these the schema names them by a checksum.
    "ENUM_NAME_OVERRIDES": {
        "KeyStateEnum": "apikeys.models.KeyState.choices",
        "UsedKeyStateEnum": "usage.reports.KeyState.choices",
        "RoleEnum": "accounts.roles.Role",
        "ProjectRoleEnum": "accounts.roles.ProjectRole",
        "JoinLinkRoleEnum": "accounts.invitations.links.ROLE_CHOICES",
        "MessageRoleEnum": ["system", "user", "assistant"],
    },
}

# Monitoring. Without either of the two nobody reads /metrics

METRICS_NETWORKS = env.listing("METRICS_NETWORKS")
METRICS_TOKEN = env.text("METRICS_TOKEN")

# Logs

LOG_LEVEL = env.text("LOG_LEVEL", "INFO")
LOG_FORMAT = env.text("LOG_FORMAT", "json" if PRODUCTION else "plain")
LOGGING = logging_config(level=LOG_LEVEL, style=LOG_FORMAT)
