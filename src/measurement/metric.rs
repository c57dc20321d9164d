//! What is measured, and which figures of the attacks belong together.

use super::name::named_enum;

named_enum! {
    /// What a measurement says about a design. PSNR and SSIM without another name are the trained decoder's.
    pub enum Metric ("metric") {
        /// Share of images, unseen in training, that the trained cloud net classifies correctly.
        Accuracy = "accuracy",
        /// Mean over images of the reconstruction's PSNR, dB.
        PsnrMean = "psnr_mean",
        /// 95th percentile over images of the reconstruction's PSNR, dB.
        PsnrP95 = "psnr_p95",
        /// Upper confidence limit of the 95th percentile of PSNR over the draw of images, whatever its distribution, dB.
        PsnrP95Upper = "psnr_p95_upper",
        /// Largest PSNR of any image, dB.
        PsnrMax = "psnr_max",
        /// PSNR of the mean squared error pooled over images, dB.
        PsnrPooled = "psnr_pooled",
        /// Mean PSNR over the images of the class that is recovered best, dB.
        PsnrWorstClass = "psnr_worst_class",
        /// Mean over images of the reconstruction's SSIM.
        SsimMean = "ssim_mean",
        /// Mean PSNR that sixteen times the training is expected to reach, by the attack's learning curve, dB.
        PsnrMeanExtended = "psnr_mean_extended",
        /// 95th percentile of PSNR that sixteen times the training is expected to reach, dB.
        PsnrP95Extended = "psnr_p95_extended",
        /// Mean SSIM that sixteen times the training is expected to reach.
        SsimMeanExtended = "ssim_mean_extended",
        /// Mean over images of the PSNR of the closed-form linear attack, dB: a floor for every trained attack.
        LinearPsnrMean = "linear_psnr_mean",
        /// 95th percentile over images of the linear attack's PSNR, dB.
        LinearPsnrP95 = "linear_psnr_p95",
        /// Largest PSNR of any image that the linear attack reaches, dB.
        LinearPsnrMax = "linear_psnr_max",
        /// PSNR of the linear attack's mean squared error pooled over images, dB.
        LinearPsnrPooled = "linear_psnr_pooled",
        /// Mean PSNR of the linear attack over the images of the class that it recovers best, dB.
        LinearPsnrWorstClass = "linear_psnr_worst_class",
        /// Mean over images of the SSIM of the linear attack's reconstructions.
        LinearSsimMean = "linear_ssim_mean",
        /// Mean over images of the PSNR of the closed-form kernel attack, dB.
        KernelPsnrMean = "kernel_psnr_mean",
        /// 95th percentile over images of the kernel attack's PSNR, dB.
        KernelPsnrP95 = "kernel_psnr_p95",
        /// Upper confidence limit of that, whatever its distribution, dB.
        KernelPsnrP95Upper = "kernel_psnr_p95_upper",
        /// Largest PSNR of any image that the kernel attack reaches, dB.
        KernelPsnrMax = "kernel_psnr_max",
        /// PSNR of the kernel attack's mean squared error pooled over images, dB.
        KernelPsnrPooled = "kernel_psnr_pooled",
        /// Mean PSNR of the kernel attack over the images of the class that it recovers best, dB.
        KernelPsnrWorstClass = "kernel_psnr_worst_class",
        /// Mean over images of the SSIM of the kernel attack's reconstructions.
        KernelSsimMean = "kernel_ssim_mean",
        /// Mean over images of the PSNR of the ensemble, a weighted sum of the reconstructions of all these attacks, dB.
        EnsemblePsnrMean = "ensemble_psnr_mean",
        /// 95th percentile over images of the ensemble's PSNR, dB.
        EnsemblePsnrP95 = "ensemble_psnr_p95",
        /// Upper confidence limit of that, whatever its distribution, dB.
        EnsemblePsnrP95Upper = "ensemble_psnr_p95_upper",
        /// Largest PSNR of any image that the ensemble reaches, dB.
        EnsemblePsnrMax = "ensemble_psnr_max",
        /// PSNR of the ensemble's mean squared error pooled over images, dB.
        EnsemblePsnrPooled = "ensemble_psnr_pooled",
        /// Mean PSNR of the ensemble over the images of the class that it recovers best, dB.
        EnsemblePsnrWorstClass = "ensemble_psnr_worst_class",
        /// Mean over images of the SSIM of the ensemble's reconstructions.
        EnsembleSsimMean = "ensemble_ssim_mean",
        /// Mean over the inverted images of the PSNR of white-box inversion, dB.
        InversionPsnrMean = "inversion_psnr_mean",
        /// What inversion recovers beyond its start, the ensemble, on the same images, mean over images, dB.
        InversionGainMean = "inversion_gain_mean",
        /// The same over the quarter of the images that the ensemble recovers best, dB.
        InversionGainTail = "inversion_gain_tail",
        /// The largest that it gains on any image, dB.
        InversionGainMax = "inversion_gain_max",
        /// 95th percentile over the inverted images of the PSNR of inversion, dB.
        InversionPsnrP95 = "inversion_psnr_p95",
        /// What sixteen times the descent is expected to make of that, dB.
        InversionPsnrP95Extended = "inversion_psnr_p95_extended",
        /// Upper confidence limit of the 95th percentile itself, whatever its distribution, dB.
        InversionPsnrP95Upper = "inversion_psnr_p95_upper",
        /// What inversion gains in SSIM on its start, mean over images.
        InversionGainSsim = "inversion_gain_ssim",
        /// Of channels that are a secret, how many the attacker found out from statistics of the features.
        ChannelsFound = "channels_found",
        /// 1 if the attack's learning curve can be extended to longer training, 0 if it is too steep to tell.
        AttackConverged = "attack_converged",
    }
}

impl Metric {
    /// Digits after the point that a figure of this metric is worth, and its unit.
    pub fn format(self) -> (usize, &'static str) {
        match self {
            Self::Accuracy
            | Self::SsimMean
            | Self::SsimMeanExtended
            | Self::LinearSsimMean
            | Self::KernelSsimMean
            | Self::EnsembleSsimMean
            | Self::InversionGainSsim => (3, ""),
            Self::AttackConverged | Self::ChannelsFound => (0, ""),
            _ => (2, " dB"),
        }
    }

    /// A value of this metric with its unit.
    pub fn text(self, value: f64) -> String {
        let (digits, unit) = self.format();
        format!("{value:.digits$}{unit}")
    }

    /// Figures of the decoder, each with the linear attack's name of it.
    pub const LINEAR: [(Self, Self); 6] = [
        (Self::PsnrMean, Self::LinearPsnrMean),
        (Self::PsnrP95, Self::LinearPsnrP95),
        (Self::PsnrMax, Self::LinearPsnrMax),
        (Self::PsnrPooled, Self::LinearPsnrPooled),
        (Self::PsnrWorstClass, Self::LinearPsnrWorstClass),
        (Self::SsimMean, Self::LinearSsimMean),
    ];

    /// Figures of the decoder, each with the kernel attack's name of it.
    pub const KERNEL: [(Self, Self); 7] = [
        (Self::PsnrMean, Self::KernelPsnrMean),
        (Self::PsnrP95, Self::KernelPsnrP95),
        (Self::PsnrP95Upper, Self::KernelPsnrP95Upper),
        (Self::PsnrMax, Self::KernelPsnrMax),
        (Self::PsnrPooled, Self::KernelPsnrPooled),
        (Self::PsnrWorstClass, Self::KernelPsnrWorstClass),
        (Self::SsimMean, Self::KernelSsimMean),
    ];

    /// Figures of the decoder, each with the ensemble's name of it.
    pub const ENSEMBLE: [(Self, Self); 7] = [
        (Self::PsnrMean, Self::EnsemblePsnrMean),
        (Self::PsnrP95, Self::EnsemblePsnrP95),
        (Self::PsnrP95Upper, Self::EnsemblePsnrP95Upper),
        (Self::PsnrMax, Self::EnsemblePsnrMax),
        (Self::PsnrPooled, Self::EnsemblePsnrPooled),
        (Self::PsnrWorstClass, Self::EnsemblePsnrWorstClass),
        (Self::SsimMean, Self::EnsembleSsimMean),
    ];

    /// The names that white-box inversion has for them, on a part of the images.
    pub const INVERSION: [(Self, Self); 4] = [
        (Self::PsnrMean, Self::InversionPsnrMean),
        (Self::PsnrP95, Self::InversionPsnrP95),
        (Self::PsnrP95Extended, Self::InversionPsnrP95Extended),
        (Self::PsnrP95Upper, Self::InversionPsnrP95Upper),
    ];

    /// The names that the other attacks with pairs have for the decoder's figures.
    pub const OTHERS: [&[(Self, Self)]; 3] = [&Self::LINEAR, &Self::KERNEL, &Self::ENSEMBLE];

    /// This figure's name with another attack, given that attack's names.
    pub fn of(self, names: &[(Self, Self)]) -> Option<Self> {
        names.iter().find(|(of, _)| *of == self).map(|&(_, name)| name)
    }

    /// The row of what white-box inversion gains on its start in this figure.
    pub fn inversion_gain(self) -> Option<Self> {
        match self {
            Self::PsnrMean | Self::PsnrPooled | Self::PsnrWorstClass => Some(Self::InversionGainMean),
            Self::PsnrP95 | Self::PsnrMax => Some(Self::InversionGainTail),
            Self::SsimMean => Some(Self::InversionGainSsim),
            _ => None,
        }
    }

    /// The metric that extends this one to sixteen times the training.
    pub fn extended(self) -> Option<Self> {
        match self {
            Self::PsnrMean => Some(Self::PsnrMeanExtended),
            Self::PsnrP95 => Some(Self::PsnrP95Extended),
            Self::SsimMean => Some(Self::SsimMeanExtended),
            _ => None,
        }
    }
}
