"""The workbench's form: a conversation, the next prompt, and how to answer it."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from catalog.models import HostedModel
from playground.models import Run

MOST_MESSAGES = 80
MOST_CHARACTERS = 400_000
MOST_STOPS = 4
MOST_TEMPERATURE = 2
MOST_TOP_P = 1
MOST_ANSWER_TOKENS = 1_000_000
MOST_SEED = 2**31 - 1
ROLES = {"user", "assistant"}
PARAMETERS = ["temperature", "top_p", "max_tokens", "seed", "stop"]


def model_choices(models: Iterable[HostedModel]) -> list[tuple[str, str]]:
    """Each model under its name, the demonstration model labeled as what it is."""
    return [
        (
            model.public_name,
            str(_("%(name)s (demonstration model)") % {"name": model.public_name})
            if model.is_demonstration
            else model.public_name,
        )
        for model in models
    ]


class StopField(forms.CharField):
    """Texts that end the answer, one per line."""

    widget = forms.Textarea

    def clean(self, value: Any) -> list[str]:
        # Not stripped: a space or a tab can be what ends an answer. Line ends are the form's own.
        text = str(super().clean(value) or "").replace("\r\n", "\n")
        stops = [line for line in text.split("\n") if line]
        if len(stops) > MOST_STOPS:
            raise forms.ValidationError(
                _("At most %(count)s stop texts, one per line."), params={"count": MOST_STOPS}, code="too_many"
            )
        return stops

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class RunForm(forms.Form):
    """What is sent to the model. The turns before the prompt come as pairs of `role` and `content`."""

    model = forms.ChoiceField(label=_("Model"), widget=forms.Select(attrs={"class": "control control-small"}))
    system = forms.CharField(
        label=_("System prompt"),
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 1, "placeholder": _("Who the model is and how it should answer"), "class": "turn-text"}
        ),
    )
    prompt = forms.CharField(
        label=_("Prompt"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": _("Ask something"), "class": "composer-text"}),
    )
    temperature = forms.FloatField(
        label=_("Temperature"),
        required=False,
        min_value=0,
        max_value=MOST_TEMPERATURE,
        widget=forms.NumberInput(attrs={"step": "any", "placeholder": _("default")}),
        help_text=_("0 to 2, higher varies more"),
    )
    top_p = forms.FloatField(
        label=_("Top P"),
        required=False,
        min_value=0,
        max_value=MOST_TOP_P,
        widget=forms.NumberInput(attrs={"step": "any", "placeholder": _("default")}),
        help_text=_("0 to 1, lower varies less"),
    )
    max_tokens = forms.IntegerField(
        label=_("Max tokens"),
        required=False,
        min_value=1,
        max_value=MOST_ANSWER_TOKENS,
        widget=forms.NumberInput(attrs={"placeholder": _("no limit")}),
        help_text=_("Longest answer allowed"),
    )
    seed = forms.IntegerField(
        label=_("Seed"),
        required=False,
        min_value=0,
        max_value=MOST_SEED,
        widget=forms.NumberInput(attrs={"placeholder": _("random")}),
        help_text=_("Same seed, same answer"),
    )
    stop = StopField(
        label=_("Stop texts"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("One per line, at most four. The answer ends before the first that appears."),
    )

    def __init__(self, *args: Any, models: Iterable[HostedModel], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["model"]
        assert isinstance(choices, forms.ChoiceField)  # noqa: S101
        choices.choices = model_choices(models)
        choices.error_messages["invalid_choice"] = _("%(value)s is not offered here. Choose another model.")

    @property
    def turns(self) -> list[dict[str, str]]:
        """The turns as they stand in the form, so that a refused form shows them again."""
        if isinstance(self.data, QueryDict):
            pairs = zip(self.data.getlist("role"), self.data.getlist("content"), strict=False)
            return [{"role": role, "content": text} for role, text in pairs if role in ROLES and text.strip()]
        turns: list[dict[str, str]] = self.initial.get("turns", [])
        return turns

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        messages = self._messages(str(cleaned.get("system", "")), str(cleaned.get("prompt", "")))
        if not messages or messages[-1]["role"] != "user":
            self.add_error("prompt", forms.ValidationError(_("Write a prompt first."), code="no_prompt"))
            return cleaned
        if len(messages) > MOST_MESSAGES:
            raise forms.ValidationError(
                _("This conversation has more than %(count)s messages. Remove some or start a new one."),
                params={"count": MOST_MESSAGES},
                code="too_many_messages",
            )
        if sum(len(message["content"]) for message in messages) > MOST_CHARACTERS:
            raise forms.ValidationError(
                _("This conversation is longer than %(count)s characters. Shorten it."),
                params={"count": MOST_CHARACTERS},
                code="too_long",
            )
        cleaned["messages"] = messages
        # What is left empty is not sent: the model's server has its own defaults.
        cleaned["parameters"] = {name: cleaned[name] for name in PARAMETERS if cleaned.get(name) not in (None, "", [])}
        return cleaned

    def _messages(self, system: str, prompt: str) -> list[dict[str, str]]:
        messages = [{"role": "system", "content": system}] if system.strip() else []
        messages += [{**turn, "content": _unix(turn["content"])} for turn in self.turns]
        if "again" in self.data:
            while messages and messages[-1]["role"] == "assistant":
                messages.pop()
        elif prompt.strip():
            messages.append({"role": "user", "content": _unix(prompt)})
        return messages


def initial_of(run: Run) -> dict[str, Any]:
    """What the form shows for a run: its conversation and settings, ready for the next prompt."""
    messages: list[dict[str, str]] = list(run.messages)
    system = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else ""
    return {"model": run.model_name, "system": system, "turns": messages, **run.parameters}


def _unix(text: str) -> str:
    # Browsers send CRLF; the model should see what was typed. PostgreSQL's JSON holds no NUL.
    return text.replace("\r\n", "\n").replace("\x00", "")
