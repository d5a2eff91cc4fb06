"""Asking, answering, commenting and editing."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apikeys.models import ApiKey
from common.markdown import MAX_CHARACTERS
from community.errors import KeyShownError, RefusedError
from community.services import language_of
from forum.services import MAX_TAGS

MAX_COMMENT_CHARACTERS = 1000
_TAG = re.compile(r"[^\W_][\w.+#-]{0,34}")


def _check_length(text: str, *, latin: int, chinese: int) -> str:
    """Chinese says the same in fewer characters."""
    least = chinese if language_of(text) == "zh-hans" else latin
    if len(text) < least:
        raise forms.ValidationError(
            ngettext("Write at least %(count)s character.", "Write at least %(count)s characters.", least)
            % {"count": least}
        )
    return text


class TagsField(forms.CharField):
    """Tags apart by spaces or commas, as a list of names."""

    def to_python(self, value: object) -> Any:
        text = unicodedata.normalize("NFKC", super().to_python(value) or "").lower()
        names = list(dict.fromkeys(re.split(r"[\s,，、;]+", text.strip(" ,，、;")))) if text.strip(" ,，、;") else []
        if len(names) > MAX_TAGS:
            raise forms.ValidationError(_("Up to %(count)s tags."), params={"count": MAX_TAGS})
        for name in names:
            if not _TAG.fullmatch(name):
                raise forms.ValidationError(
                    _("“%(name)s” cannot be a tag: letters, figures and . + # - only, up to 35."), params={"name": name}
                )
        return names


class WritingForm(forms.Form):
    """A form whose text is published."""

    shown_keys: Sequence[ApiKey] = ()
    """Keys in the text that its author may revoke, once it was refused for them."""

    def refuse(self, error: RefusedError) -> None:
        self.add_error(None, str(error))
        if isinstance(error, KeyShownError):
            self.shown_keys = error.revocable


class SubmissionMixin(WritingForm):
    submission = forms.CharField(widget=forms.HiddenInput, required=False, max_length=40)


class AnswerForm(SubmissionMixin):
    text = forms.CharField(
        label=_("Your answer"),
        max_length=MAX_CHARACTERS,
        widget=forms.Textarea({"rows": 9}),
        help_text=_("Markdown. Say how you found out, and show code that runs."),
    )

    def clean_text(self) -> str:
        return _check_length(self.cleaned_data["text"], latin=20, chinese=8)


class QuestionForm(SubmissionMixin):
    title = forms.CharField(
        label=_("Title"),
        max_length=150,
        widget=forms.TextInput({"autocomplete": "off"}),
        help_text=_("The question in one line, as you would search for it."),
    )
    text = forms.CharField(
        label=_("What did you try, and what happened?"),
        max_length=MAX_CHARACTERS,
        widget=forms.Textarea({"rows": 12}),
        help_text=_("Markdown. Add the model, the request without its key, and the error as it came."),
    )
    tags = TagsField(
        label=_("Tags"),
        required=False,
        max_length=200,
        help_text=_("Up to five, apart by spaces: streaming python 429"),
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def clean_title(self) -> str:
        return _check_length(" ".join(self.cleaned_data["title"].split()), latin=15, chinese=6)

    def clean_text(self) -> str:
        return _check_length(self.cleaned_data["text"], latin=20, chinese=8)


class CommentForm(SubmissionMixin):
    text = forms.CharField(
        label=_("Comment"),
        max_length=MAX_COMMENT_CHARACTERS,
        widget=forms.Textarea({"rows": 3}),
        help_text=_("Ask for detail or point something out, in up to 1,000 characters. Answers go below."),
    )

    def clean_text(self) -> str:
        return _check_length(self.cleaned_data["text"], latin=5, chinese=2)


class EditMixin(WritingForm):
    summary = forms.CharField(
        label=_("What you changed"), max_length=120, required=False, help_text=_("Shown in the history.")
    )
    base = forms.IntegerField(widget=forms.HiddenInput)


class EditQuestionForm(EditMixin, QuestionForm):
    field_order = ["title", "text", "tags", "summary"]


class EditAnswerForm(EditMixin, AnswerForm):
    field_order = ["text", "summary"]


class EditCommentForm(EditMixin, CommentForm):
    field_order = ["text", "summary"]
