from typing import Any

from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "sampling"
    verbose_name = "Queues and accuracy"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import sampling.accuracy.history
        import sampling.queues.export  # joins the export's registry
        import sampling.queues.history
        import sampling.sweeps.history  # noqa: F401  (and this)
        from hoshina.core import links
        from hoshina.jobs import upkeep
        from labeling.decisions import provenance
        from labeling.models import Dataset
        from labeling.signals import regrouped
        from modeling.signals import trained
        from modeling.versions import audited_accuracy
        from sampling.accuracy import estimate as accuracy_estimate
        from sampling.queues.retention import forget_old_rankings
        from sampling.queues.served import look_up

        links.register(
            audited_accuracy="sampling:accuracy",
            audited_accuracy_summary="sampling:honest",
            accuracy_plot="sampling:plot",
            class_split="sampling:class_split",
            compare="sampling:compare",
            guide_suggestions="sampling:guide_suggestions",
            item_guide="sampling:item_guide",
            map="sampling:map",
            merge_preview="sampling:merge_preview",
            results="sampling:results",
        )
        provenance.register(look_up)
        upkeep.register(forget_old_rankings)
        audited_accuracy.register(accuracy_estimate.audited, accuracy_estimate.newest_audited)
        trained.connect(accuracy_estimate.estimate_version, dispatch_uid="sampling.estimate_version")
        regrouped.connect(forget_rounds, dispatch_uid="sampling.forget_rounds")
        post_delete.connect(forget_examples, sender=Dataset, dispatch_uid="sampling.forget_examples")


def forget_rounds(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Delete rounds, splits and cached pools after all items were created anew: their rows refer to other items now."""
    from sampling.models import ClassSplit, Round
    from sampling.queues.pool import forget

    Round.objects.filter(dataset=dataset_id).delete()
    ClassSplit.objects.filter(dataset=dataset_id).delete()
    forget()


def forget_examples(sender: object, *, instance: Any, **kwargs: Any) -> None:
    """Delete the outside examples of a dataset that was deleted."""
    from sampling.queues.outside_examples import forget

    forget(instance.pk)
