"""Uploading an exported folder: told early where it can't be, private unless asked, the folder kept."""

from __future__ import annotations

import pytest

from codeft import publishing
from codeft.types import CodeftError


class Hub:
    """A hub that notes what it is asked, or refuses."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[tuple] = []
        self.refusal = refusal

    def __call__(self) -> Hub:
        return self

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        self.asked.append(("create", name, private, exist_ok))
        return f"https://hub.invalid/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        if self.refusal:
            raise self.refusal
        self.asked.append(("upload", repo_id, folder_path))


@pytest.fixture
def reachable(monkeypatch):
    monkeypatch.setattr(publishing.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(publishing, "get_token", lambda: "token")
    monkeypatch.setattr(publishing, "ask_hub", lambda: None)


def test_what_can_t_be_uploaded_is_told(reachable, monkeypatch):
    publishing.check_hub("owner/name")
    for name in ("name", "a/b/c", "../name", "/owner/name", True):
        with pytest.raises(CodeftError, match="owner/name"):
            publishing.check_hub(name)
    monkeypatch.setattr(publishing, "ask_hub", lambda: OSError("no route"))
    with pytest.raises(CodeftError, match=r"can't reach the hub \(no route\)"):
        publishing.check_hub("owner/name")
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    with pytest.raises(CodeftError, match="nobody is logged in"):
        publishing.check_hub("owner/name")
    monkeypatch.setattr(publishing.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CodeftError, match="HF_HUB_OFFLINE"):
        publishing.check_hub("owner/name")


def test_a_folder_is_uploaded(monkeypatch, tmp_path):
    hub = Hub()
    monkeypatch.setattr(publishing, "HfApi", hub)
    assert publishing.publish(tmp_path, "owner/name", private=True).endswith("owner/name")
    assert hub.asked == [("create", "owner/name", True, True), ("upload", "owner/name", str(tmp_path))]


def test_a_refusal_says_where_the_folder_is(monkeypatch, tmp_path):
    monkeypatch.setattr(publishing, "HfApi", Hub(ConnectionError("403:\n not yours")))
    with pytest.raises(CodeftError, match=f"403: not yours; the folder is complete in '{tmp_path}'"):
        publishing.publish(tmp_path, "owner/name", private=False)


def test_the_verb_uploads_what_it_wrote(command, finished_run, reachable, monkeypatch, tmp_path, capsys):
    hub = Hub()
    monkeypatch.setattr(publishing, "HfApi", hub)
    words = [f"run={finished_run}", f"to={tmp_path}/model", "private=false", f"hydra.run.dir={tmp_path}/log"]
    command("export", *words, "push_to_hub=owner/name")
    assert hub.asked[0] == ("create", "owner/name", False, True)
    assert hub.asked[1] == ("upload", "owner/name", f"{tmp_path}/model")
    assert "https://hub.invalid/owner/name" in capsys.readouterr().out
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    with pytest.raises(SystemExit, match="nobody is logged in"):
        command("export", words[0], f"to={tmp_path}/other", words[-1], "push_to_hub=owner/name")
    assert not (tmp_path / "other").exists()
